"""Motion, masks, registration and resampling: arrays and affines in, arrays and affines out."""
