namespace Rlhf.Tracking;

/// <summary>A sink's failure, told to whoever watches a <see cref="MetricTracker"/>.</summary>
/// <param name="Sink">Name of the sink.</param>
/// <param name="Error">What it threw.</param>
/// <param name="Dropped">Whether the sink is given nothing more from now on.</param>
public sealed record SinkFailure(string Sink, Exception Error, bool Dropped)
{
    /// <summary>One sentence for a log.</summary>
    public override string ToString() =>
        $"Metrics could not be written to {Sink}: {Error.Message}"
        + (Dropped ? " It is not used any more; training continues." : "");
}

/// <summary>
/// Gives metrics and sample tables to any number of sinks and owns them. What a sink throws never reaches the training loop:
/// its first failure is reported, and after several in a row it is dropped. Safe to use from several threads; sinks are called
/// one at a time.
/// </summary>
public sealed class MetricTracker : IMetricSink
{
    /// <summary>Failures in a row after which a sink is dropped.</summary>
    public const int FailuresBeforeDrop = 3;

    private sealed class Target(IMetricSink sink)
    {
        public IMetricSink Sink => sink;
        public int FailuresInARow;
        public bool Reported;
    }

    private readonly Lock gate = new();
    private readonly Action<SinkFailure>? onFailure;
    private readonly List<Target> targets;

    /// <summary>A tracker over sinks, which it disposes with itself.</summary>
    /// <param name="sinks">Where metrics go; none is allowed.</param>
    /// <param name="onFailure">Told a sink's first failure and its dropping; what it throws is ignored.</param>
    public MetricTracker(IEnumerable<IMetricSink> sinks, Action<SinkFailure>? onFailure = null)
    {
        targets = [.. sinks.Select(sink => new Target(sink))];
        this.onFailure = onFailure;
    }

    /// <inheritdoc/>
    public string Name => "all sinks";

    /// <summary>Names of the sinks that are still used.</summary>
    public IReadOnlyList<string> ActiveSinks
    {
        get
        {
            lock (gate)
                return [.. targets.Select(target => target.Sink.Name)];
        }
    }

    /// <inheritdoc/>
    public void Write(MetricRecord record) => ForEach(sink => sink.Write(record));

    /// <inheritdoc/>
    public void Write(SampleTable table) => ForEach(sink => sink.Write(table));

    /// <inheritdoc/>
    public void Complete() => ForEach(sink => sink.Complete());

    /// <summary>Closes every sink; failures are reported, never thrown.</summary>
    public void Dispose()
    {
        ForEach(sink => sink.Dispose());
        lock (gate)
            targets.Clear();
    }

    private void ForEach(Action<IMetricSink> action)
    {
        lock (gate)
        {
            foreach (var target in targets.ToArray())
            {
                try
                {
                    action(target.Sink);
                    target.FailuresInARow = 0;
                }
                catch (Exception error)
                {
                    Fail(target, error);
                }
            }
        }
    }

    private void Fail(Target target, Exception error)
    {
        bool drop = ++target.FailuresInARow >= FailuresBeforeDrop;
        if (drop)
        {
            targets.Remove(target);
            Quietly(target.Sink.Dispose);
        }
        if (drop || !target.Reported)
            Quietly(() => onFailure?.Invoke(new SinkFailure(target.Sink.Name, error, drop)));
        target.Reported = true;
    }

    private static void Quietly(Action action)
    {
        try
        {
            action();
        }
        catch (Exception)
        {
            // Neither closing a broken sink nor a broken log may end a training run.
        }
    }
}
