"""What runs inside the box: a trusted supervisor as PID 1, and the kernel that it forks, which runs anything."""
