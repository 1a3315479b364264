"""What the trainers write and read, as bytes in and bytes out.

One module a trainer family; nothing here opens a file or starts a process.
"""
