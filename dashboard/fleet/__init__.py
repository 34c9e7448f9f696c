"""Keeps the snapshot: passes over the fleet, and follows what agents started until it has ended.

``refresh``  one pass over all accounts
``sync``     start a sync once, follow it to its end
``links``    reauthorise and bank refresh: a checked link for a person, then wait until the connection is well again
``live``     read one connection now, because somebody looks at it
``alerts``   what is to be told, sent to where people read it
``queue``    the work queue: what is due, handed out
"""
