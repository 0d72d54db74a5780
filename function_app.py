"""The front door: checks the settings and registers blueprints, nothing else."""

import azure.durable_functions as df
import azure.functions as func

import activities
import orchestrators
import routes
import timers
import wiring
from hosting.mend import mend_worker

wiring.settings()  # an app with broken settings does not start
wiring.host()

mend_worker()

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)  # routes/edge.py authenticates

for blueprint in (*routes.blueprints, *orchestrators.blueprints, *activities.blueprints, *timers.blueprints):
    app.register_functions(blueprint)
