import CIPCShims
import IPC

// What most messages need, without a call: for callers in another module, which are calls of another language themselves. They have no
// registers to save then: see ``LogWriter/claimAtOnce(_:)``.

extension ChannelWriter {
    /// Up to this size in bytes a message is copied without a call.
    @inlinable package static var mostAtOnce: Int { 512 }

    /// Publishes or sets a copy of the bytes, if that takes no call and this is the only writer: a shared one needs more registers, and
    /// has them in ``writeAtOnce(_:_:)``.
    @inlinable @inline(__always)
    package mutating func writeAloneAtOnce(_ bytes: UnsafeRawPointer, _ count: Int) -> Bool {
        guard UInt(bitPattern: count &- leastAtOnce) <= rangeAtOnce, reserved == nil,
            let publisher = unsafe publisher
        else { return false }
        return unsafe publisher.pointee.putAloneAtOnce(bytes, count)
    }

    /// Publishes or sets a copy of the bytes, if that takes no call.
    ///
    /// - Returns: False if a call has to look into it: ``write(_:_:until:)``.
    @inlinable @inline(__always)
    package mutating func writeAtOnce(_ bytes: UnsafeRawPointer, _ count: Int) -> Bool {
        guard UInt(bitPattern: count &- leastAtOnce) <= rangeAtOnce, reserved == nil else { return false }
        return unsafe publisher?.pointee.putAtOnce(bytes, count) ?? false
    }
}

extension Topic.Publisher where Message == RawBytes {
    @inlinable @inline(__always)
    mutating func putAtOnce(_ bytes: UnsafeRawPointer, _ count: Int) -> Bool {
        guard let payload = unsafe writer.claimAtOnce(count) else { return false }
        unsafe ipc_copy(payload, bytes, count)
        writer.deliverAtOnce(count)
        return true
    }
}

extension Topic.Publisher where Message == RawBytes {
    @inlinable @inline(__always)
    mutating func putAloneAtOnce(_ bytes: UnsafeRawPointer, _ count: Int) -> Bool {
        guard let payload = unsafe writer.claimAloneAtOnce(count) else { return false }
        unsafe ipc_copy(payload, bytes, count)
        writer.deliverAloneAtOnce(count)
        return true
    }
}

extension UnsafeMutablePointer where Pointee: ~Copyable {
    /// Memory for a participant; nil for none. ``giveBack()`` ends it.
    static func holding(_ participant: consuming Pointee?) -> UnsafeMutablePointer? {
        switch consume participant {
        case .some(let participant):
            let pointer = UnsafeMutablePointer.allocate(capacity: 1)
            unsafe pointer.initialize(to: participant)
            return unsafe pointer
        case .none: return nil
        }
    }

    func giveBack() {
        unsafe deinitialize(count: 1)
        unsafe deallocate()
    }
}

extension ChannelReader {
    /// Receives a copy of the next message of a topic, if that takes no call.
    ///
    /// - Parameters:
    ///   - buffer: Room for `capacity` bytes.
    ///   - capacity: At most so many are received.
    ///   - count: Gets the size of the message.
    /// - Returns: False if a call has to look into it: ``tryBorrow()``, ``borrow(until:)``.
    @inlinable @inline(__always)
    package mutating func receiveAtOnce(
        _ buffer: UnsafeMutableRawPointer, _ capacity: Int, _ count: UnsafeMutablePointer<Int>?
    ) -> Bool {
        guard borrowed == nil else { return false }
        return unsafe subscription?.pointee.takeAtOnce(buffer, capacity, count, leastAtOnce, rangeAtOnce) ?? false
    }

    /// Receives a copy of the next message of a topic, if that takes no call and it has this size.
    @inlinable @inline(__always)
    package mutating func receiveAtOnce(_ buffer: UnsafeMutableRawPointer, exactly size: Int) -> Bool {
        guard borrowed == nil else { return false }
        return unsafe subscription?.pointee.takeAtOnce(buffer, exactly: size) ?? false
    }

    /// Called when a batch has all messages that there were. In the middle of a stream this waits up to eight microseconds, so that the
    /// writer gets ahead: see ``ReaderPace``.
    @inlinable @inline(__always)
    package mutating func keepPace() { unsafe subscription?.pointee.keepPace() }

    /// Polls for the next message of a topic for about a microsecond, unless this reader is not to poll at all.
    @inlinable @inline(__always)
    package mutating func spin() -> Bool { unsafe subscription?.pointee.spinIfAllowed() ?? false }
}

extension Topic.Subscription where Message == RawBytes {
    @inlinable @inline(__always)
    mutating func takeAtOnce(
        _ buffer: UnsafeMutableRawPointer, _ capacity: Int, _ count: UnsafeMutablePointer<Int>?, _ least: Int,
        _ range: UInt
    ) -> Bool {
        guard let (header, payload) = unsafe reader.nextAtOnce() else { return false }
        let length = Int(header.length)
        guard length <= capacity, UInt(bitPattern: length &- least) <= range else { return false }
        unsafe ipc_copy(buffer, payload, length)
        if let count = unsafe count { unsafe count.pointee = length }
        reader.advance(past: header)
        return true
    }

    @inlinable @inline(__always)
    mutating func takeAtOnce(_ buffer: UnsafeMutableRawPointer, exactly size: Int) -> Bool {
        guard let (header, payload) = unsafe reader.nextAtOnce(), Int(header.length) == size else { return false }
        unsafe ipc_copy(buffer, payload, size)
        reader.advance(past: header)
        return true
    }

    @inlinable @inline(__always)
    mutating func spinIfAllowed() -> Bool { spins != 0 && reader.spin() }

    @inlinable @inline(__always)
    mutating func keepPace() { if spins != 0 { reader.catchUp() } }
}
