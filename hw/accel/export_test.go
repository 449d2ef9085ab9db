package accel

// Header is header, for the tests beside acceltest, which imports this package.
var Header = header
