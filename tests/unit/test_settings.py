import pytest

from settings import Settings, SettingsError

AZURE_STORES = {"COSMOS_ENDPOINT": "https://x.documents.azure.com", "BLOB_ENDPOINT": "https://x.blob.core.windows.net"}


def test_nothing_set_means_the_stores_of_a_laptop():
    settings = Settings.from_environment({})
    assert settings.cosmos_endpoint == ""
    assert settings.run_lifetime_seconds == 600
    assert not settings.has_model


@pytest.mark.parametrize("missing", AZURE_STORES)
def test_app_in_azure_refuses_a_store_on_its_own_disk(missing):
    environment = {"WEBSITE_SITE_NAME": "app"} | AZURE_STORES
    assert Settings.from_environment(environment).cosmos_endpoint
    with pytest.raises(SettingsError, match="is lost with it"):
        Settings.from_environment(environment | {missing: ""})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RUN_LIFETIME_SECONDS", "soon"),
        ("RUN_LIFETIME_SECONDS", "0"),
        ("RUN_LIFETIME_SECONDS", "nan"),
        ("RUN_LIFETIME_SECONDS", "1e12"),
        ("MODEL_BASE_URL", "api.example.com"),
        ("MODEL_CONTEXT_TOKENS", "12"),
        ("STREAM_KEEP_ALIVE_SECONDS", "0.001"),
        ("STREAM_KEEP_ALIVE_SECONDS", "-1"),
        ("CORS_ORIGINS", "example.com"),
        ("CORS_ORIGINS", "https://example.com/app"),
        ("CORS_ORIGINS", "https://*.example.com"),
        ("CORS_ORIGINS", "https://a.example;https://b.example/"),
        ("CORS_ORIGINS", "null"),
    ],
)
def test_broken_value_is_refused_by_its_name(name, value):
    with pytest.raises(SettingsError, match=name):
        Settings.from_environment({name: value})


def test_keep_alives_can_be_switched_off():
    assert Settings.from_environment({"STREAM_KEEP_ALIVE_SECONDS": "0"}).stream_keep_alive_seconds == 0


def test_origins_are_kept_as_browsers_write_them():
    assert Settings.from_environment({}).cors_origins == ()
    given = "https://Example.com:443/, http://a:80,http://localhost:*,,app://x, https://b:8443"
    assert Settings.from_environment({"CORS_ORIGINS": given}).cors_origins == (
        "https://example.com",
        "http://a",
        "http://localhost:*",
        "app://x",
        "https://b:8443",
    )
    assert Settings.from_environment({"CORS_ORIGINS": "*"}).cors_origins == ("*",)


def test_secrets_are_not_printed():
    secrets = ("ASSISTANTS_API_KEY", "MODEL_API_KEY", "BLOB_CONNECTION_STRING")
    assert "hush" not in repr(Settings.from_environment(dict.fromkeys(secrets, "hush")))


def test_two_models_are_refused():
    with pytest.raises(SettingsError, match="not both"):
        Settings.from_environment({"MODEL_BASE_URL": "http://a/v1", "MODEL_AZURE_ENDPOINT": "https://b"})


def test_key_of_a_real_cosmos_account_is_refused():
    with pytest.raises(SettingsError, match="identity"):
        Settings.from_environment({"COSMOS_ENDPOINT": AZURE_STORES["COSMOS_ENDPOINT"], "COSMOS_KEY": "key"})
