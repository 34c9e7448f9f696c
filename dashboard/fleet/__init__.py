"""Keeps the snapshot: passes over the fleet, and follows what agents started until it has ended.

``refresh``  one pass over all accounts
``sync``     start a sync once, follow it to its end
``links``    reauthorise, bank refresh, invite: a checked link for a customer, then wait until it did what it is for
``live``     read one connection now, because somebody looks at it
``queue``    the work queue: what is due, handed out
"""
