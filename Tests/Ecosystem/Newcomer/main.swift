// What somebody writes who has read README.md and nothing else: each pattern, at the top level of a program that imports what a
// server imports as well. No `unsafe`, no `throws(IPCError)`, and no name that has to be qualified.

import Foundation
import IPC
import IPCChannels
import Logging
import ServiceLifecycle

struct Quote: BitwiseCopyable { var symbol: UInt32; var price: Double }
struct OutOfStock: Error { var order: UInt64 }
enum Refusal: Error, BitwiseCopyable { case negative }

// A service of the server's own, under the names that these modules have.
struct Greeter: Service {
    let logger: Logger
    func run() async throws { logger.debug("hello") }
}

// Topic
let topic = try Topic<Quote>.openOrCreate("market/quotes")
var quotes = try topic.makeSubscription()
var publisher = try topic.makePublisher()
try publisher.publish(Quote(symbol: 7, price: 12.5))
let quote = try quotes.receive(until: .after(.seconds(5)))
print("symbol \(quote.symbol) costs \(quote.price)")

// Topic of bytes; the closure throws an error of its own.
let frames = try Topic<RawBytes>.openOrCreate("camera/frames")
var viewer = try frames.makeSubscription()
var camera = try frames.makePublisher()
let picture: [UInt8] = [1, 2, 3]
try camera.publish(picture.span.bytes)
let size = try viewer.receive(until: .after(.seconds(5))) { frame in
    guard frame.byteCount > 0 else { throw OutOfStock(order: 0) }
    return frame.byteCount
}
print("a frame of \(size) bytes")

// Work queue
let queue = try WorkQueue<UInt64>.openOrCreate("orders")
var producer = try queue.makeProducer()
try producer.send(4711)
var worker = try queue.makeWorker()
do {
    try worker.workNext(until: .after(.seconds(5))) { order in throw OutOfStock(order: order) }
} catch let error as OutOfStock {
    print("order \(error.order) is out of stock")
}
try worker.workNext(until: .after(.seconds(5))) { order in print("order \(order)") }

// A job by itself, in a function: what is at the top level of a program cannot be given away, as acknowledging does.
func workByHand() throws {
    var producer = try queue.makeProducer()
    try producer.send(4712)
    var worker = try queue.makeWorker()
    let job = try worker.next(until: .after(.seconds(5)))
    print("order \(job.message), attempt \(job.attempt)")
    try job.acknowledge()
}
try workByHand()

// Service: one server, and many tasks that share one client.
let roots = try ServiceChannel<Double, Double, Refusal>.openOrCreate("math/roots")
let serving = Task {
    try await roots.serve { number, _ throws(Refusal) in
        guard number >= 0 else { throw .negative }
        return number.squareRoot()
    }
}
let client = try roots.makeSharedClient()
let sum = try await withThrowingTaskGroup(of: Double.self) { group in
    for number in 1...4 {
        group.addTask { try await client.call(Double(number * number), until: .after(.seconds(30))).get() }
    }
    var sum = 0.0
    for try await root in group { sum += root }
    return sum
}
print("the sum of the roots is \(sum)")
if case .failure(let refusal) = try client.call(-1, until: .after(.seconds(30))) { print("refused: \(refusal)") }
serving.cancel()
try await serving.value

// Latest value
let temperature = try Latest<Double>.openOrCreate("room/temperature")
var setter = try temperature.makeSetter()
try setter.set(21.5)
var getter = try temperature.makeGetter()
let degrees = try getter.get()
print("\(degrees ?? 0) degrees")

// Event
let changed = try Event.openOrCreate("configuration/changed").makeParticipant()
changed.notify()
try changed.wait(until: .after(.seconds(5)))
print("changed")

// Text in messages
enum JSON: MessageCoder {
    static func encode<Value: Encodable>(_ value: Value) throws -> [UInt8] { try Array(JSONEncoder().encode(value)) }
    static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
        try JSONDecoder().decode(type, from: Data(bytes))
    }
}
struct Parcel: Codable { var to: String; var items: [String] }
let parcels = try WorkQueue<Coded<Parcel, JSON>>.openOrCreate("parcels")
let shippers = try parcels.makeSharedProducer()
try shippers.send(Parcel(to: "Ada", items: ["gear", "cam"]))
for try await parcel in try parcels.makeWorker().jobs() {
    let content = try parcel.message
    print("for \(content.to): \(content.items.joined(separator: ", "))")
    try parcel.acknowledge()
    break
}
try await Greeter(logger: Logger(label: "newcomer")).run()
