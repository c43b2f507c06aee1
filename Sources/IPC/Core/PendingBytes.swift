/// What has come of a stream, and was not handed over yet: to be cut at newlines, or by lengths.
///
/// Each byte is looked at once, and moved a fixed number of times, in however small pieces it comes.
package struct PendingBytes {
    private var bytes: [UInt8] = []
    private var start = 0
    /// Up to where there is no newline.
    private var searched = 0

    package init() {}

    package var count: Int { bytes.count - start }

    package mutating func append(_ more: some Collection<UInt8>) {
        // What was taken is dropped when it is more than what is left, so that this does not move a long rest again and again.
        if start > count {
            bytes.removeFirst(start)
            searched -= start
            start = 0
        }
        bytes += more
    }

    /// How many bytes come before the next newline.
    package mutating func newline() -> Int? {
        let found = bytes[searched...].firstIndex(of: UInt8(ascii: "\n"))
        searched = found ?? bytes.count
        return found.map { $0 - start }
    }

    /// Takes so many, which are there.
    package mutating func take(_ count: Int) -> [UInt8] {
        defer { drop(count) }
        return Array(bytes[start..<start + count])
    }

    package mutating func drop(_ count: Int) {
        start += count
        searched = max(searched, start)
    }

    /// The number that four bytes say, the most significant one first; nil while they are not there. They stay.
    package var length: Int? {
        guard count >= 4 else { return nil }
        return bytes[start..<start + 4].reduce(0) { $0 << 8 | Int($1) }
    }
}
