"""Where the guard stands between a driver and the server: one module for each driver."""
