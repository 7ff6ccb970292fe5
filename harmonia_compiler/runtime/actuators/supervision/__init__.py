"""What keeps the processes of a `local` bundle alive, piece by piece."""
