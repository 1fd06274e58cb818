namespace Rlhf.Studio.Playground;

/// <summary>Models that the playground has loaded.</summary>
public sealed class ModelShelf(StudioOptions options)
{
    /// <summary>What is served.</summary>
    public StudioOptions Options { get; } = options;
}
