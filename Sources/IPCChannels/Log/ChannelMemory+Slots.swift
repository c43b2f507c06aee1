import Glibc
import IPC
import Synchronization

// The slots, as shared words.
extension ChannelMemory {
    // Changed under the membership lock:

    var isRemoved: Bool {
        get { SharedUInt32(self, LogLayout.removed).acquired != 0 }
        set { SharedUInt32(self, LogLayout.removed).ordered = newValue ? 1 : 0 }
    }

    /// A value of `LogLayout.SlotState`.
    func state(_ role: ParticipantRole, _ slot: Int) -> SharedUInt32 {
        half(role, slot, LogLayout.ReaderSlot.state, LogLayout.WriterSlot.state)
    }

    func process(_ role: ParticipantRole, _ slot: Int) -> SharedUInt32 {
        half(role, slot, LogLayout.ReaderSlot.process, LogLayout.WriterSlot.process)
    }

    func namespace(_ role: ParticipantRole, _ slot: Int) -> SharedUInt32 {
        half(role, slot, LogLayout.ReaderSlot.namespace, LogLayout.WriterSlot.namespace)
    }

    private func half(_ role: ParticipantRole, _ slot: Int, _ ofReader: Int, _ ofWriter: Int) -> SharedUInt32 {
        switch role {
        case .reader: SharedUInt32(self, LogLayout.readerSlot(slot) + ofReader)
        case .writer: SharedUInt32(self, LogLayout.writerSlot(slot, readerSlots: readerSlots) + ofWriter)
        case .guest: guestMemory.half(LogLayout.Guests.slot(slot) + ofReader)
        }
    }

    var usedReaderCount: SharedUInt32 { SharedUInt32(self, LogLayout.usedReaderSlots) }
    var usedWriterCount: SharedUInt32 { SharedUInt32(self, LogLayout.usedWriterSlots) }

    /// How many reader slots have ever been used; those above need no check.
    var usedReaders: Int { min(readerSlots, Int(usedReaderCount.acquired)) }
    var usedWriters: Int { min(writerSlots, Int(usedWriterCount.acquired)) }
    var usedGuests: Int { guests.map { min(guestSlots, Int($0.usedSlots.acquired)) } ?? 0 }

    /// All slots that have ever been used.
    var usedSlots: [(role: ParticipantRole, slot: Int)] {
        (0..<usedReaders).map { (.reader, $0) } + (0..<usedWriters).map { (.writer, $0) }
            + (0..<usedGuests).map { (.guest, $0) }
    }

    /// How often a participant joined. Sequentially consistent, like its two loads.
    var joinCount: UInt32 { joins.ordered &+ (guests?.joins.ordered ?? 0) }

    /// The cursor of a reader or a guest.
    func cursor(_ role: ParticipantRole, _ slot: Int) -> SharedUInt64 {
        role == .guest
            ? guestMemory.word(LogLayout.Guests.slot(slot) + LogLayout.ReaderSlot.cursor)
            : reader(slot, LogLayout.ReaderSlot.cursor)
    }

    /// How to wake the slot's owner while it waits without a thread; 0 otherwise.
    func wakeUpWord(_ role: ParticipantRole, _ slot: Int) -> SharedUInt64 {
        switch role {
        case .reader: reader(slot, LogLayout.ReaderSlot.wakeUpWord)
        case .writer: writer(slot, LogLayout.WriterSlot.wakeUpWord)
        case .guest: guestMemory.word(LogLayout.Guests.slot(slot) + LogLayout.ReaderSlot.wakeUpWord)
        }
    }
}
