#if NATS
    extension [UInt8] {
        mutating func append<Number: FixedWidthInteger>(littleEndian number: Number) {
            Swift.withUnsafeBytes(of: number.littleEndian) { append(contentsOf: $0) }
        }
    }

    extension RawSpan {
        /// The number at an offset. Its bytes have to be there.
        func number<Number: FixedWidthInteger & BitwiseCopyable>(at offset: Int, as: Number.Type = Number.self)
            -> Number
        {
            precondition(offset >= 0 && byteCount - offset >= MemoryLayout<Number>.size)
            return Number(littleEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: Number.self))
        }
    }
#endif
