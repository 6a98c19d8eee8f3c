"""The live stream: Socket.IO at `/socket.io`, with the reads and alerts of the API."""
