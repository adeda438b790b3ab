"""What every room needs: errors, files, hardware, the screen."""
