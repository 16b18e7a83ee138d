"""Commands in a process of their own."""

# What a shell starts in the background ignores Ctrl-C, and so do its children: this makes them listen.
HEARS_CTRL_C = "from signal import SIGINT, default_int_handler, signal; signal(SIGINT, default_int_handler); "
