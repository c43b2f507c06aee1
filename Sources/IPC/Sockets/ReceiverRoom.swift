import Glibc
import SystemPackage

/// A wait for room in the queue of a Unix datagram socket that the sender is not connected to.
///
/// The sender's own socket is writable while that queue is full. One that is connected to the receiver is not, and the kernel
/// wakes who waits for it when a message is taken, or the receiver has gone. So this is such a socket, and nothing is sent by it.
struct ReceiverRoom: ~Copyable {
    private let handle: SocketHandle

    /// - Throws: What the next message would fail with: nobody is there, or it takes messages of another sender only.
    init(of address: RawSocketAddress, _ name: String) throws(IPCError) {
        let handle = try SocketHandle.make(AF_UNIX, .datagram, name)
        try handle.connect(to: address, until: .immediate)
        self.handle = handle
    }

    /// Writable when there is room.
    var descriptor: CInt { handle.rawValue }
}
