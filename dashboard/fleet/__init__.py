"""Keeps the snapshot: passes over the fleet, and follows what agents started until it has ended.

``refresh``  one pass over all accounts; ``reader`` one worker's share of it, ``reading`` one account's calls
``core``     one core of the machine for the threads of a pass
``sync``     start a sync once, follow it to its end
``bulk``     work on many connections: one step at a time
``links``    reauthorise, bank refresh, invite: a checked link for a customer, then wait until it did what it is for
``live``     read one connection now, because somebody looks at it
``alerts``   what is to be told, sent to where people read it
``rows``     when the newest row of a connection's tables was received, because somebody asks
``webhooks`` what Peliqan sends, into the snapshot at once; ``hints`` asks for work, but not too often
``deliveries`` tables of new connections, handed to the partner's ``hook``
``pulls``    tables copied out, by hand or by a schedule
``questions`` SQL that people ask warehouses
``queue``    the work queues: what is due, handed out; ``messages`` what stands in them, signed
"""
