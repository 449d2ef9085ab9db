package movie

// head is what a growing file begins with: its kind, and a description of its one
// track that has no samples of its own.
func head(m Mark) ([]byte, error) {
	config, err := configuration(m.Sets)
	if err != nil {
		return nil, err
	}
	var b boxes
	b.kind("iso6", "isom", "iso6", "mp41")
	moov := b.open("moov")
	b.movieHeader(0)
	trak := b.open("trak")
	b.trackHeader(m, 0)
	mdia, minf, stbl := b.media(0)
	b.description(m, "avc3", config)
	for _, table := range []string{"stts", "stsc", "stco"} {
		at := b.full(table, 0, 0)
		b.u32(0)
		b.close(at)
	}
	at := b.full("stsz", 0, 0)
	b.u64(0)
	b.close(at)
	for _, open := range []int{stbl, minf, mdia, trak} {
		b.close(open)
	}
	mvex := b.open("mvex")
	at = b.full("trex", 0, 0)
	b.u32(trackID)
	b.u32(1) // sample description
	b.zeros(12)
	b.close(at)
	b.close(mvex)
	b.close(moov)
	return b, nil
}

const trackID = 1

// unity is the matrix that shows a picture as it is (clause 6.2.2).
var unity = [9]uint32{0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000}

func (b *boxes) kind(major string, compatible ...string) {
	at := b.open("ftyp")
	b.text(major)
	b.u32(0x200)
	for _, c := range compatible {
		b.text(c)
	}
	b.close(at)
}

// movieHeader is clause 8.2.2; duration is in ticks, 0 while it is not known. The
// dates of creation are left 0: the bytes must not depend on a clock.
func (b *boxes) movieHeader(duration int64) {
	at := b.full("mvhd", 1, 0)
	b.zeros(16)
	b.u32(timescale)
	b.u64(uint64(duration))
	b.u32(0x10000) // rate
	b.u16(0x100)   // volume
	b.zeros(10)
	for _, v := range unity {
		b.u32(v)
	}
	b.zeros(24)
	b.u32(trackID + 1)
	b.close(at)
}

// trackHeader is clause 8.3.2.
func (b *boxes) trackHeader(m Mark, duration int64) {
	at := b.full("tkhd", 1, 3) // enabled, in the movie
	b.zeros(16)
	b.u32(trackID)
	b.u32(0)
	b.u64(uint64(duration))
	b.zeros(16)
	for _, v := range unity {
		b.u32(v)
	}
	b.u32(uint32(m.Width) << 16)
	b.u32(uint32(m.Height) << 16)
	b.close(at)
}

// edits lets the track begin at first instead of at 0 (clause 8.6.6).
func (b *boxes) edits(first, duration int64) {
	if first == 0 {
		return
	}
	edts := b.open("edts")
	at := b.full("elst", 1, 0)
	b.u32(2)
	b.u64(uint64(first))
	b.u64(^uint64(0)) // nothing
	b.u32(0x10000)
	b.u64(uint64(duration))
	b.u64(0)
	b.u32(0x10000)
	b.close(at)
	b.close(edts)
}

// media begins the boxes around the sample tables and leaves them open.
func (b *boxes) media(duration int64) (mdia, minf, stbl int) {
	mdia = b.open("mdia")
	at := b.full("mdhd", 1, 0)
	b.zeros(16)
	b.u32(timescale)
	b.u64(uint64(duration))
	b.u16(0x55c4) // language not determined ("und")
	b.u16(0)
	b.close(at)
	at = b.full("hdlr", 0, 0)
	b.u32(0)
	b.text("vide")
	b.zeros(12)
	b.text("Watchpost\x00")
	b.close(at)
	minf = b.open("minf")
	at = b.full("vmhd", 0, 1)
	b.zeros(8)
	b.close(at)
	dinf := b.open("dinf")
	dref := b.full("dref", 0, 0)
	b.u32(1)
	b.close(b.full("url ", 0, 1)) // in this file
	b.close(dref)
	b.close(dinf)
	return mdia, minf, b.open("stbl")
}

// description is the sample description of one entry (clause 8.5.2, 12.1.3).
func (b *boxes) description(m Mark, entry string, config []byte) {
	stsd := b.full("stsd", 0, 0)
	b.u32(1)
	at := b.open(entry)
	b.zeros(6)
	b.u16(1) // data reference
	b.zeros(16)
	b.u16(uint16(m.Width))
	b.u16(uint16(m.Height))
	b.u32(0x480000) // 72 dpi
	b.u32(0x480000)
	b.u32(0)
	b.u16(1) // frame a sample
	b.zeros(32)
	b.u16(24)
	b.u16(0xffff)
	avcc := b.open("avcC")
	*b = append(*b, config...)
	b.close(avcc)
	b.close(at)
	b.close(stsd)
}
