//! Statistics on slices and histograms: no I/O, no clock.
