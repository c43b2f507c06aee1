/// Waits in the order of their deadlines: a binary heap from which any of them can be taken out.
struct DeadlineHeap {
    private var waits: [Reactor.Wait] = []

    var first: Reactor.Wait? { waits.first }

    mutating func insert(_ wait: Reactor.Wait) {
        guard wait.deadline != .never else { return }
        wait.place = waits.count
        waits.append(wait)
        rise(wait.place)
    }

    /// Does nothing if it is not in.
    mutating func remove(_ wait: Reactor.Wait) {
        let place = wait.place
        guard place >= 0 else { return }
        wait.place = -1
        let last = waits.removeLast()
        guard last !== wait else { return }
        put(last, at: place)
        rise(place)
        sink(last.place)
    }

    private mutating func put(_ wait: Reactor.Wait, at place: Int) {
        waits[place] = wait
        wait.place = place
    }

    private func isEarlier(_ a: Int, _ b: Int) -> Bool {
        waits[a].deadline.nanoseconds < waits[b].deadline.nanoseconds
    }

    private mutating func swap(_ a: Int, _ b: Int) {
        let wait = waits[a]
        put(waits[b], at: a)
        put(wait, at: b)
    }

    private mutating func rise(_ start: Int) {
        var place = start
        while place > 0, isEarlier(place, (place - 1) / 2) {
            swap(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    private mutating func sink(_ start: Int) {
        var place = start
        while true {
            let left = 2 * place + 1
            guard left < waits.count else { return }
            let right = left + 1
            let child = right < waits.count && isEarlier(right, left) ? right : left
            guard isEarlier(child, place) else { return }
            swap(child, place)
            place = child
        }
    }
}
