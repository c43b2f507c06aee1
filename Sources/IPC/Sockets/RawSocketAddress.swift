import CIPCShims
import Glibc
import SystemPackage

/// A `sockaddr` of any family, made from an ``Endpoint`` and back. (Named apart from NIO's `SocketAddress`.)
struct RawSocketAddress: Sendable {
    private var storage = sockaddr_storage()
    private(set) var length: socklen_t

    /// The address of an endpoint. A host name is looked up, which may block for as long as the system's resolver is
    /// configured to; a literal address never does.
    init(_ endpoint: Endpoint) throws(IPCError) {
        switch endpoint {
        case .tcp(let host, let port), .udp(let host, let port):
            length = 0
            try resolve(host, port, "\(endpoint)")
        case .unix(let path):
            let bytes = Array(path.string.utf8)
            try endpoint.checkLength(bytes.count, "\(endpoint)")
            length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count + 1)
            setUnixPath(bytes)
        case .unixAbstract(let name):
            let bytes = Array(name.utf8)
            try endpoint.checkLength(bytes.count, "\(endpoint)")
            length = socklen_t(MemoryLayout<sa_family_t>.size + 1 + bytes.count)
            setUnixPath([0] + bytes)
        }
    }

    /// An address for the kernel to fill in.
    init() { length = socklen_t(MemoryLayout<sockaddr_storage>.size) }

    var family: CInt { CInt(storage.ss_family) }

    private mutating func setUnixPath(_ path: [UInt8]) {
        storage.ss_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &storage) { bytes in
            unsafe bytes[MemoryLayout<sa_family_t>.size...].copyBytes(from: path)
        }
    }

    private mutating func resolve(_ host: String, _ port: UInt16, _ name: String) throws(IPCError) {
        var hints = unsafe addrinfo()
        unsafe hints.ai_flags = AI_NUMERICSERV
        unsafe hints.ai_socktype = IPC_SOCK_STREAM  // one entry per address
        var found: UnsafeMutablePointer<addrinfo>?
        let result = unsafe getaddrinfo(host, "\(port)", &hints, &found)
        guard result == 0, let found = unsafe found else {
            throw IPCError(
                .notFound, "getaddrinfo", name,
                advice:
                    unsafe "no address is known for \"\(host)\": \(String(cString: gai_strerror(result))); use a literal address"
            )
        }
        defer { unsafe freeaddrinfo(found) }
        length = unsafe found.pointee.ai_addrlen
        unsafe withUnsafeMutableBytes(of: &storage) { bytes in
            unsafe bytes.copyMemory(from: UnsafeRawBufferPointer(start: found.pointee.ai_addr, count: Int(length)))
        }
    }

    /// Lends it as the C calls take it.
    func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        unsafe withUnsafePointer(to: storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, length) }
        }
    }

    /// Lends it to a C call that fills it in.
    mutating func withMutablePointer<Result>(
        _ body: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Result
    ) -> Result {
        unsafe withUnsafeMutablePointer(to: &storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, &length) }
        }
    }

    /// The endpoint that it means; nil for an unnamed Unix socket.
    func endpoint(isDatagram: Bool) -> Endpoint? {
        switch family {
        case AF_UNIX: unixEndpoint
        case AF_INET, AF_INET6:
            numericHost.map { host, port in isDatagram ? .udp(host: host, port: port) : .tcp(host: host, port: port) }
        default: nil
        }
    }

    private var unixEndpoint: Endpoint? {
        let pathLength = Int(length) - MemoryLayout<sa_family_t>.size
        guard pathLength > 0 else { return nil }
        let path = unsafe withUnsafeBytes(of: storage) {
            unsafe Array($0[MemoryLayout<sa_family_t>.size...].prefix(pathLength))
        }
        if path[0] == 0 { return .unixAbstract(String(decoding: path.dropFirst(), as: UTF8.self)) }
        return .unix(FilePath(String(decoding: path.prefix { $0 != 0 }, as: UTF8.self)))
    }

    private var numericHost: (String, UInt16)? {
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        var port = [CChar](repeating: 0, count: Int(NI_MAXSERV))
        let result = unsafe withPointer { address, length in
            unsafe getnameinfo(
                address, length, &host, socklen_t(host.count), &port, socklen_t(port.count),
                NI_NUMERICHOST | NI_NUMERICSERV)
        }
        func text(_ characters: [CChar]) -> String {
            String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
        guard result == 0, let number = UInt16(text(port)) else { return nil }
        return (text(host), number)
    }
}
