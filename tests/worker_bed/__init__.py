"""The app in the library that Azure's Python worker runs on Python 3.13; tests play the host's part.

`process.py` starts it in a process of its own, `__main__.py` is that process, `proxy.py` sends requests as the host's
proxy does.
"""
