using Rlhf.Faults;
using Rlhf.Training.Loop;

/// <summary>
/// Puts faults into the built command, without a trace of it in the command: a process that is started with this assembly's path in
/// DOTNET_STARTUP_HOOKS runs <see cref="Initialize"/> before its Main.
/// </summary>
internal static class StartupHook
{
    public static void Initialize() =>
        TrainingHooks.Default = new FaultyTraining(FaultPlan.Parse(Environment.GetEnvironmentVariable(FaultPlan.Variable)));
}
