"""The front door: checks the settings and registers blueprints, nothing else."""

import azure.functions as func

from hosting.broken_app import or_broken


def whole_app() -> func.FunctionRegister:
    # Imported here, so that in Azure somebody can say that one of them doesn't load.
    import azure.durable_functions as df

    import activities
    import orchestrators
    import routes
    import timers
    import wiring
    from hosting.library_logs import quieten_libraries
    from hosting.mend import mend_worker

    wiring.check()  # an app with broken settings does not start
    quieten_libraries()
    mend_worker()

    app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)  # routes/edge.py authenticates
    for blueprint in (*routes.blueprints, *orchestrators.blueprints, *activities.blueprints, *timers.blueprints):
        app.register_functions(blueprint)
    return app


app = or_broken(whole_app)
