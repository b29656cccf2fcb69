"""The same measurement by NVIDIA's trtexec: its command, and what it writes read back."""
