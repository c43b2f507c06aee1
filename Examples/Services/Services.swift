// A service: two servers answer, one of them dies in a call; the caller hears of it at once, or its call is done again.
import Glibc
import IPC
import IPCChannels

struct Order: BitwiseCopyable { var number: UInt32 }
struct Receipt: BitwiseCopyable { var price: Double }
enum OrderError: Error, BitwiseCopyable { case unknown }

@main
struct Services {
    typealias Prices = ServiceChannel<Order, Receipt, OrderError>

    static func main() throws {
        // The name has the number of the process that started it all, so that two runs do not mix.
        let role = CommandLine.arguments.dropFirst().first
        let service = try Prices.openOrCreate("example/prices-\(role == nil ? getpid() : getppid())")
        switch role {
        case "serve": try serve(service)
        case "hold": try hold(service)
        default: try run(service)
        }
    }

    static func run(_ service: Prices) throws {
        var client = try service.makeClient()
        let output = try AnonymousPipe()
        let target = output.writer.descriptor
        let victim = try ChildProcess("/proc/self/exe", ["hold"], descriptors: [1: target])
        let lines = output.closingWriter()
        let call = try client.begin(Order(number: 1), until: .after(.seconds(10)))
        print(try line(lines))
        try victim.handle.send(.kill)
        print("the call is lost: \(isLost(call))")

        // One that may be done twice goes to the next server.
        let server = try ChildProcess("/proc/self/exe", ["serve"])
        for number in [1, 2, 500] as [UInt32] {
            switch try client.call(Order(number: number), until: .after(.seconds(10)), retries: 1) {
            case .success(let receipt): print("order \(number) costs \(receipt.price)")
            case .failure(let error): print("order \(number) is \(error)")
            }
        }
        try server.handle.send(.terminate)
        _ = try server.wait()
        _ = try victim.wait()
    }

    static func isLost(_ call: consuming PendingCall<Receipt, OrderError>) -> Bool {
        do throws(IPCError) { _ = try call.wait() } catch { return error.code == .brokenPipe }
        return false
    }

    static func serve(_ service: Prices) throws {
        var server = try service.makeServer()
        while true {
            try server.serveNext { (order) throws(OrderError) in
                guard order.number < 100 else { throw .unknown }
                return Receipt(price: Double(order.number) * 12.5)
            }
        }
    }

    /// Takes a call, and never answers it.
    static func hold(_ service: Prices) throws {
        var server = try service.makeServer()
        let call = try server.next()
        print("took order \(try call.request.number)")
        fflush(nil)
        withExtendedLifetime(call) { while true { pause() } }
    }

    static func line(_ reader: borrowing PipeReader) throws(IPCError) -> String {
        var bytes = [UInt8](repeating: 0, count: 64)
        var elements = bytes.mutableSpan
        var buffer = elements.mutableBytes
        let count = try reader.read(into: &buffer, until: .after(.seconds(20)))
        return String(decoding: bytes[..<count].dropLast(), as: UTF8.self)
    }
}
