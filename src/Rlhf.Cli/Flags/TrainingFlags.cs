using Rlhf.Cli.Runs;
using Rlhf.Cli.Settings;

namespace Rlhf.Cli.Flags;

/// <summary>The flags that every verb has that trains.</summary>
internal static class TrainingFlags
{
    public static SettingsBinder AddTraining(this SettingsBinder binder) => binder
        .Add("Run", new OutputFlags())
        .Add("Checkpoints", new CheckpointFlags(), o => o.Validate())
        .Add("Tracking", new TrackingFlags(), o => o.Validate())
        .Add("Hub", new HubFlags(), o => o.Validate())
        .Add("Memory", new MemoryFlags())
        .Check(MemoryFlags.Problems)
        .Add("Compute", new ComputeFlags(), o => o.Validate());
}
