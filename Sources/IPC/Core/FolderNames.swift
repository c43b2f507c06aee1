import CIPCShims
import Glibc
import SystemPackage

/// The names in a folder, in no order, without `.` and `..`.
///
/// Bytes of a name that are not UTF-8 are written as `\xff`, so that such a text does not name another file that exists, as it
/// might if they were replaced.
package func namesInFolder(_ path: String) throws(IPCError) -> [String] {
    // Not by `opendir`, which may make one of the descriptors 0 to 2.
    try names(of: retryingInterrupts { unsafe ipc_open_path(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0) }, path)
}

/// The same of a folder that is open, on whatever descriptor; `path` is for errors.
package func namesInFolder(_ descriptor: CInt, _ path: String) throws(IPCError) -> [String] {
    // Of its own, whose place in the folder is the beginning.
    try names(
        of: retryingInterrupts { unsafe ipc_openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0) }, path)
}

private func names(of opened: Result<CInt, Errno>, _ path: String) throws(IPCError) -> [String] {
    let raw = try opened.orThrow("open folder", path)
    guard let folder = unsafe fdopendir(raw) else {
        let errno = Errno(rawValue: errno)
        close(raw)
        throw IPCError("open folder", path, errno)
    }
    defer { unsafe closedir(folder) }
    var names: [String] = []
    while let entry = unsafe readdir(folder) {
        let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
            unsafe escapingInvalidBytes(bytes.prefix { $0 != 0 })
        }
        if name != ".", name != ".." { names.append(name) }
    }
    return names
}

/// Text for people: what is UTF-8 as it is, and every other byte as `\xff`.
package func escapingInvalidBytes(_ bytes: some Sequence<UInt8>) -> String {
    let bytes = Array(bytes)
    if let text = String(validating: bytes, as: UTF8.self) { return text }
    var text = ""
    var decoder = UTF8()
    var source = bytes.makeIterator()
    var start = 0
    decoding: while true {
        switch decoder.decode(&source) {
        case .scalarValue(let scalar):
            text.unicodeScalars.append(scalar)
            start += UTF8.width(scalar)
        case .error:
            // As many bytes as the decoder passed over are at least one: it goes on at the next from where it stopped.
            let digits = String(bytes[start], radix: 16)
            text += "\\x" + (digits.count == 1 ? "0" : "") + digits
            start += 1
            decoder = UTF8()
            source = Array(bytes[start...]).makeIterator()
        case .emptyInput: break decoding
        }
    }
    return text
}
