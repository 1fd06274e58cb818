namespace Rlhf.Hub;

/// <summary>How far a transfer is.</summary>
/// <param name="Files">Files that are transferred in all.</param>
/// <param name="FilesDone">Files that are there.</param>
/// <param name="Bytes">Bytes that are there, those of an earlier attempt included.</param>
/// <param name="TotalBytes">Bytes of all files.</param>
public sealed record HubProgress(int Files, int FilesDone, long Bytes, long TotalBytes);

/// <summary>Adds up the progress of parallel transfers, and reports it one call at a time.</summary>
internal sealed class HubProgressSum(int files, long total, Action<HubProgress>? report)
{
    private const int BetweenReports = 50;
    private readonly Lock gate = new();
    private long bytes, lastReport = long.MinValue;
    private int done;

    /// <summary>Some bytes came, or with a negative number, turned out to be worthless.</summary>
    public void Add(long count)
    {
        lock (gate)
        {
            bytes += count;
            if (Environment.TickCount64 - BetweenReports >= lastReport)
                Report();
        }
    }

    /// <summary>A file is there.</summary>
    public void Finish()
    {
        lock (gate)
        {
            done++;
            Report();
        }
    }

    private void Report()
    {
        lastReport = Environment.TickCount64;
        report?.Invoke(new(files, done, bytes, total));
    }
}
