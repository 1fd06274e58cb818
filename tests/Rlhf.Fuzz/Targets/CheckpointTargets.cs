using System.Text.Json;
using Rlhf.Training.Checkpoints;
using Rlhf.Training.Loop;
using Rlhf.Training.Ppo;

namespace Rlhf.Fuzz;

/// <summary>What a checkpoint holds beside tensors: the list of its files, and the numbers of its trainer.</summary>
internal static class CheckpointTargets
{
    public static IEnumerable<FuzzTarget> Make(Scratch scratch)
    {
        var refused = typeof(InvalidDataException);
        yield return new("checkpoint-manifest", input => Manifest(scratch, input), AllTargets.Bytes(
            """{"format":1,"step":40,"score":1.5,"files":[{"name":"config.json","bytes":2,"sha256":"00"}]}""",
            """{"format":1,"step":3,"score":null,"files":[]}""",
            """{"format":1,"step":0,"score":"NaN","files":[{"name":"a","bytes":0,"sha256":""},{"name":"b","bytes":1,"sha256":""}]}"""),
            AllTargets.Json("\"format\":1", "\"step\":", "\"score\":\"Infinity\"", "\"files\":[", "\"name\":\"../x\"",
                "\"name\":\"..\"", "\"name\":\"\\u0000\"", "\"bytes\":", "\"sha256\":", "9223372036854775807", "\"NaN\""), refused);
        yield return new("trainer-state", input => State(scratch, input), AllTargets.Bytes(
            Numbers("""
                {"step":9,"total_steps":12,"loss":2.5,"learning_rate":1e-5,"grad_norm":1,"tokens":100,"elapsed":"00:00:02","eval_loss":null,
                "bad_steps_in_a_row":0}
                """),
            Numbers("""
                {"step":9,"total_steps":12,"epoch":0.5,"loss":"NaN","accuracy":0.5,"learning_rate":1e-5,"grad_norm":1,"tokens":100,
                "tokens_per_second":1000.5,"elapsed":"00:00:02","evaluation":{"examples":5,"loss":0.5,"accuracy":1},"evaluation_is_due":false}
                """),
            Numbers("""
                {"step":9,"kl_coef":0.2,"score_mean":0,"score_std":1,"score_var":1,"score_count":1e-24,"order_position":123,
                "bad_steps_in_a_row":0,"init_kl_coef":0.2}
                """)),
            AllTargets.Json("\"trainer\":", "\"inputs\":{", "\"elapsed\":", "\"00:00:01\"", "\"-00:00:01\"",
                "\"10675199.02:48:05.4775807\"", "\"step\":", "\"tokens\":", "\"tokens_per_second\":", "\"evaluation\":",
                "9223372036854775807", "\"NaN\"", "1e308"), refused);
    }

    private static string Numbers(string trainer) =>
        $$"""{"inputs":{"--model":"00"},"elapsed":"00:00:01","trainer":{{trainer}}}""";

    private static void Manifest(Scratch scratch, byte[] input)
    {
        string folder = Directory.CreateDirectory(Path.Combine(scratch.Folder, "manifest")).FullName;
        File.WriteAllBytes(Path.Combine(folder, CheckpointManifest.FileName), input);
        File.WriteAllText(Path.Combine(folder, "config.json"), "{}");
        var manifest = CheckpointManifest.Load(folder);
        WrongResultException.Unless(manifest.Step >= 0 && manifest.Step + 1 > 0, "a step that no run has");
        WrongResultException.Unless(manifest.Files.All(f => Path.GetFullPath(Path.Combine(folder, f.Name)) is var path
            && (Path.GetDirectoryName(path) == folder || !File.Exists(path))), "a file outside the folder");
        try
        {
            manifest.Verify(folder);
        }
        catch (InvalidDataException) when (manifest.Files.Count > 0)
        {
            // Sizes and sums are rarely right.
        }
    }

    private static void State(Scratch scratch, byte[] input)
    {
        string folder = Directory.CreateDirectory(Path.Combine(scratch.Folder, "state")).FullName;
        File.WriteAllBytes(Path.Combine(folder, "trainer_state.json"), input);
        var state = Checkpoint.ReadState(folder);
        _ = state.Elapsed + TimeSpan.FromDays(1);
        foreach (var read in (Func<JsonElement, long>[])[s => TrainProgress.Read(s)?.Step ?? 0,
            s => PpoTrainer.ReadState(s).Step])
            try
            {
                WrongResultException.Unless(read(state.Trainer) >= 0, "a negative step");
            }
            catch (JsonException)
            {
                // The one way in which a trainer refuses.
            }
    }
}
