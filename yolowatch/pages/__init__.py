"""What a person reads in a browser: the page of one incident, and the runs at a glance.

Pure: nouns in, HTML out, and the time is an argument. The only files that are read are the room's
own templates. Who may read a page, over which socket, and where it is kept are decided elsewhere.
It stands beside `metrics`, which renders the same nouns for machines.
"""
