namespace Rlhf.Runtime.Operators;

/// <summary>
/// Threads that run one piece of work together and meet at barriers within it. Threads of their own, and not those of the pool: a barrier
/// must not wait for one that has not begun.
/// </summary>
internal sealed class ThreadTeam
{
    private const int SpinsBeforeYield = 4000;

    private static readonly Lock Gate = new();
    private static readonly List<ThreadTeam> Teams = [];

    private readonly SemaphoreSlim[] wake;
    private Action<int>? work;
    private int arrived, phase;

    private ThreadTeam(int size)
    {
        Size = size;
        wake = [.. Enumerable.Range(1, size - 1).Select(_ => new SemaphoreSlim(0))];
        for (int i = 1; i < size; i++)
        {
            int member = i;
            new Thread(() => Serve(member)) { IsBackground = true, Name = "Rlhf decoding" }.Start();
        }
    }

    /// <summary>Number of threads, the caller's included.</summary>
    public int Size { get; }

    /// <summary>Runs work on a team of a size; work of other callers waits.</summary>
    /// <param name="size">Number of threads.</param>
    /// <param name="work">Given the team and the number of the thread, from 0; must not throw between barriers.</param>
    public static void Run(int size, Action<ThreadTeam, int> work)
    {
        lock (Gate)
        {
            var team = Teams.Find(t => t.Size == size);
            if (team is null)
                Teams.Add(team = new ThreadTeam(size));
            team.Run(work);
        }
    }

    /// <summary>Waits until every thread of the team is here.</summary>
    public void Meet()
    {
        int now = Volatile.Read(ref phase);
        if (Interlocked.Increment(ref arrived) == Size)
        {
            arrived = 0;
            Volatile.Write(ref phase, now + 1);
            return;
        }
        for (int spins = 0; Volatile.Read(ref phase) == now; spins++)
            if (spins < SpinsBeforeYield)
                Thread.SpinWait(8);
            else
                Thread.Yield();
    }

    /// <summary>The part of <paramref name="count"/> things that a thread sees to, in whole groups of <paramref name="unit"/>.</summary>
    public (int Start, int End) Part(int count, int member, int unit)
    {
        int groups = (count + unit - 1) / unit;
        return (Math.Min(count, groups * member / Size * unit), Math.Min(count, groups * (member + 1) / Size * unit));
    }

    private void Run(Action<ThreadTeam, int> body)
    {
        work = member => body(this, member);
        foreach (var thread in wake)
            thread.Release();
        work(0);
        Meet();
        work = null;
    }

    private void Serve(int member)
    {
        while (true)
        {
            wake[member - 1].Wait();
            work!(member);
            Meet();
        }
    }
}
