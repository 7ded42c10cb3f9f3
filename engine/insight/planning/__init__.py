"""A plan looked at on a real store before it is put to work: what changes, who moves, who enters, at what cost."""
