import Glibc
import SystemPackage

// A path is bytes: what the system is asked for is never a text that was made of them.

extension FilePath {
    /// Refuses what the system would take for another path: an empty one, and one with a zero byte, which ends it there.
    ///
    /// - Throws: ``IPCError/Code/invalidName``.
    package func check(_ operation: String) throws(IPCError) {
        guard !isEmpty else {
            throw IPCError(.invalidName, operation, "", advice: "the path is empty; give a path")
        }
        let count = unsafe withPlatformString { unsafe strlen($0) }
        guard count == length else {
            throw IPCError(
                .invalidName, operation, string,
                advice: "byte \(count + 1) of the path's \(length) is zero and would end the path; remove it")
        }
    }

    /// The bytes, without the zero that ends them for C.
    package var bytes: [UInt8] {
        unsafe withPlatformString { start in
            unsafe [UInt8](UnsafeRawBufferPointer(start: start, count: strlen(start)))
        }
    }

    /// A path of bytes, up to the first zero.
    package init(bytes: some Collection<UInt8>) {
        let characters = bytes.prefix { $0 != 0 }.map { CInterop.PlatformChar(bitPattern: $0) } + [0]
        self = unsafe characters.withUnsafeBufferPointer { unsafe FilePath(platformString: $0.baseAddress!) }
    }

    /// The same path, whatever this process's working directory becomes. The C function is `getcwd`.
    ///
    /// Links are not resolved, and the file need not exist.
    package func madeAbsolute() throws(IPCError) -> FilePath {
        guard isRelative else { return self }
        guard let start = unsafe getcwd(nil, 0) else {
            throw IPCError(
                "getcwd", string, Errno(rawValue: errno),
                advice: "the working directory of this process has no path; give an absolute path")
        }
        defer { unsafe free(start) }
        return unsafe FilePath(platformString: start).pushing(self)
    }
}
