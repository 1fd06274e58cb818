namespace Rlhf.Tracking;

/// <summary>The metrics of one step. Names are TRL's own, such as <c>objective/kl</c> or <c>env/reward_mean</c>.</summary>
/// <param name="Step">Step number; 1 is the first.</param>
/// <param name="Time">When the step ended.</param>
/// <param name="Scalars">Single numbers by name.</param>
/// <param name="Distributions">Values to be shown as histograms, by name.</param>
public sealed record MetricRecord(
    long Step, DateTimeOffset Time, IReadOnlyDictionary<string, double> Scalars,
    IReadOnlyDictionary<string, float[]>? Distributions = null);

/// <summary>A table of samples at one step, such as the lesson's <c>game_log</c> of query, response and reward.</summary>
/// <param name="Name">Table name.</param>
/// <param name="Step">Step number.</param>
/// <param name="Columns">Column names.</param>
/// <param name="Rows">Cells: string, double, long, bool or null.</param>
public sealed record SampleTable(
    string Name, long Step, IReadOnlyList<string> Columns, IReadOnlyList<IReadOnlyList<object?>> Rows);

/// <summary>Where metrics and sample tables go. A sink that throws never stops training.</summary>
public interface IMetricSink : IDisposable
{
    /// <summary>Name for messages about the sink.</summary>
    string Name { get; }

    /// <summary>Takes the metrics of one step; they come after the step's tables.</summary>
    void Write(MetricRecord record);

    /// <summary>Takes a table of samples; a sink that cannot show tables does nothing.</summary>
    void Write(SampleTable table);

    /// <summary>
    /// The run came to its end, or was stopped in good order. A sink that is disposed without this may record that the run failed.
    /// </summary>
    void Complete()
    {
    }
}
