"""Everything that can go wrong with the API, beside everything that is asked of it.

``table``   both, a line each: a route of the service, a fault
``server``  answers well, or as a fault has it, from one raw socket
The tests cross them: what the service makes of each, what pages and presses do, what a pass over the fleet keeps.
"""
