namespace Rlhf.Tracking;

/// <summary>Keeps everything in memory, for tests and notebooks. Not safe for several threads at once.</summary>
public sealed class MemorySink : IMetricSink
{
    private readonly List<MetricRecord> records = [];
    private readonly List<SampleTable> tables = [];

    /// <inheritdoc/>
    public string Name => "memory";

    /// <summary>Metrics in the order in which they came.</summary>
    public IReadOnlyList<MetricRecord> Records => records;

    /// <summary>Tables in the order in which they came.</summary>
    public IReadOnlyList<SampleTable> Tables => tables;

    /// <inheritdoc/>
    public void Write(MetricRecord record) => records.Add(record);

    /// <inheritdoc/>
    public void Write(SampleTable table) => tables.Add(table);

    /// <summary>Does nothing: what was kept stays readable.</summary>
    public void Dispose()
    {
    }
}

/// <summary>Keeps nothing.</summary>
public sealed class NullSink : IMetricSink
{
    /// <summary>The one instance needed.</summary>
    public static NullSink Instance { get; } = new();

    private NullSink()
    {
    }

    /// <inheritdoc/>
    public string Name => "nothing";

    /// <inheritdoc/>
    public void Write(MetricRecord record)
    {
    }

    /// <inheritdoc/>
    public void Write(SampleTable table)
    {
    }

    /// <summary>Does nothing.</summary>
    public void Dispose()
    {
    }
}
