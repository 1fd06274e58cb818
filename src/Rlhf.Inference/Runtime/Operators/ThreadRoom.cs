using System.Runtime.InteropServices;

namespace Rlhf.Runtime.Operators;

/// <summary>Memory of a thread to work in, which stays for the next time: what is taken and given back for each product leaves holes in the heap.</summary>
internal sealed unsafe class ThreadRoom
{
    [ThreadStatic] private static ThreadRoom?[]? rooms;

    private void* memory;
    private long count;

    private ThreadRoom()
    {
    }

    ~ThreadRoom() => NativeMemory.AlignedFree(memory);

    /// <summary>Room for so many numbers, aligned to 64 bytes; what is in it is what the thread left there.</summary>
    /// <param name="purpose">0 for what a thread shares with others, 1 for its own: each is valid until the thread next asks for it.</param>
    /// <param name="numbers">How many.</param>
    public static float* Of(int purpose, long numbers)
    {
        rooms ??= new ThreadRoom[2];
        var room = rooms[purpose] ??= new ThreadRoom();
        if (room.count < numbers)
        {
            NativeMemory.AlignedFree(room.memory);
            room.memory = null;
            room.count = 0;
            room.memory = NativeMemory.AlignedAlloc((nuint)numbers * sizeof(float), 64);
            room.count = numbers;
        }
        return (float*)room.memory;
    }
}
