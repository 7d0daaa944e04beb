"""A Django project that runs its tests inside."""

from __future__ import annotations

from pathlib import Path

from tests.guards.inner import Inner, ran

SETTINGS = """
import os
from psycopg.conninfo import conninfo_to_dict
way = conninfo_to_dict(os.environ["TEST_DSN"])
DATABASES = {"default": {
    "ENGINE": "django.db.backends.postgresql", "NAME": way["dbname"], "HOST": way["host"], "PORT": way["port"],
    "USER": way["user"], "TEST": {"NAME": "test_" + way["dbname"]}}}
INSTALLED_APPS = ["shop"]
SECRET_KEY = "x"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""

MODELS = """
from django.db import models
class Thing(models.Model):
    name = models.CharField(max_length=10)
"""

DJANGO_TESTS = """
import pytest
from django.test import TransactionTestCase
from shop.models import Thing

class Flushed(TransactionTestCase):
    def test_something(self):
        assert Thing.objects.count() >= 0
"""


def django_project(home: Path) -> None:
    (home / "shop").mkdir()
    (home / "shop" / "__init__.py").touch()
    (home / "shop" / "models.py").write_text(MODELS)
    (home / "settings.py").write_text(SETTINGS)
    (home / "test_shop.py").write_text(DJANGO_TESTS)


def django(home: Path, dsn: str, *arguments: str) -> Inner:
    return ran(home, *arguments, TEST_DSN=dsn, DJANGO_SETTINGS_MODULE="settings", PYTHONPATH=str(home))
