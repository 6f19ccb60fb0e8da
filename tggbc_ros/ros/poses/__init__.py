"""Where the vehicle was and where the cameras sit, from TF or odometry, pass by pass."""
