using Rlhf.Runtime.Native;
using static TorchSharp.torch;

namespace Rlhf.Runtime.Operators;

/// <summary>Pieces of work that threads take one after another, each as it becomes free.</summary>
internal static class SharedWork
{
    /// <summary>Does pieces 0 to <paramref name="count"/> - 1 on libtorch's own threads, or on a team where those cannot be had.</summary>
    /// <param name="count">Number of pieces.</param>
    /// <param name="begin">Called by each thread when it begins: makes what it works with, and returns what does a piece.</param>
    public static void Run(int count, Func<Action<int>> begin)
    {
        int next = -1, threads = Math.Min(get_num_threads(), count);
        void Work()
        {
            var work = begin();
            for (int i; (i = Interlocked.Increment(ref next)) < count;)
                work(i);
        }
        if (!OpenMp.TryRun(threads, Work))
            ThreadTeam.Run(threads, (_, _) => Work());
    }
}
