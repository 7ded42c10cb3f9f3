"""The HTTP side of the daemon: events in, playbooks begun, health shown, verbs served through a Unix socket.

Rule 1: it has a thread of its own and never touches the store: what is to be written goes to the engine's thread as a
job (runtime/jobs.py), and the answer is given when that job is committed.
Rule 2: nothing is public unless its route says so, and everything is limited before it is parsed.
Rule 3: every answer is JSON (metrics excepted); an error says code, sentence and next move, never a traceback.
"""
