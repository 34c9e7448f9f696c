"""What people start at Peliqan (sync, reauthorise, invite), followed until its outcome is known."""
