"""What is wrong with a connection, told from facts alone, and what to do: pure functions, without database, network or clock.

``facts``     what a rule may look at, and the thresholds that the settings give
``rules``     the rules, and which makes others needless; ``checks`` each says in one sentence with figures what it found
``access``    which error texts say that a source refused access
``siblings``  connections of an account that may be the same one
``playbook``  what to do about each finding, in files that a support team edits
``texts``     error texts without what differs from customer to customer, so that the same error is the same text
``scrub``     texts that leave the console, without secrets
"""
