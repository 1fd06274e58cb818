using Rlhf.Tracking;

namespace Rlhf.Cli.Verbs;

/// <summary>Hands metrics to several sinks. A sink that fails is reported once and left out from then on; training goes on.</summary>
/// <param name="sinks">The sinks; they belong to this object.</param>
/// <param name="onFailure">Told the sink and what went wrong, once per sink.</param>
internal sealed class MetricSinks(IEnumerable<IMetricSink> sinks, Action<IMetricSink, Exception>? onFailure = null) : IMetricSink
{
    private readonly List<IMetricSink> sinks = [.. sinks];

    /// <inheritdoc/>
    public string Name => string.Join(", ", sinks.Select(s => s.Name));

    /// <inheritdoc/>
    public void Write(MetricRecord record) => Each(sink => sink.Write(record));

    /// <inheritdoc/>
    public void Write(SampleTable table) => Each(sink => sink.Write(table));

    /// <inheritdoc/>
    public void Dispose()
    {
        Each(sink => sink.Dispose());
        sinks.Clear();
    }

    private void Each(Action<IMetricSink> action)
    {
        foreach (var sink in sinks.ToArray())
        {
            try
            {
                action(sink);
            }
            catch (Exception e) // a sink may fail in any way that its service can
            {
                sinks.Remove(sink);
                onFailure?.Invoke(sink, e);
            }
        }
    }
}
