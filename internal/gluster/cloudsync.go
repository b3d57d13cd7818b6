package gluster

// StoreS3 is the storetype whose library cloudsync loads as cloudsyncs3.so.
const StoreS3 = "cloudsyncs3"

// CloudsyncOption is an option of the graph's cloudsync translator, such as
// "s3plugin-hostname"; "" if there is none.
func (g Graph) CloudsyncOption(name string) string {
	for _, x := range g.Of(TypeCloudsync) {
		return x.Option(name)
	}
	return ""
}

// Storetype names the library that cloudsync asks for data, "" if none.
func (g Graph) Storetype() string { return g.CloudsyncOption("cloudsync-storetype") }
