using Rlhf.Hub;
using Rlhf.Rewards;

namespace Rlhf.Fuzz;

/// <summary>What servers answer: a reward over HTTP, and the Hub's lists of files and places to upload to.</summary>
internal static class AnswerTargets
{
    public static IEnumerable<FuzzTarget> Make()
    {
        var reward = new HttpReward(new Uri("http://localhost/")) { Name = FuzzTarget.FileName };
        Completion[] completions = [new("q", "a"), new("q", "b")];
        yield return new("http-reward", input => RewardChecks.Check(FuzzTarget.FileName, completions, reward.Read(input)),
            AllTargets.Bytes("{\"scores\":[1,-2.5]}", "{\"scores\":[1e-3, 0],\"more\":{}}"),
            AllTargets.Json("\"scores\":[", "NaN", "\"\\u0073cores\""), typeof(RewardException));

        var call = new HubCall(HttpMethod.Get, new Uri("https://localhost/"), new(FuzzTarget.FileName));
        var oid = new string('a', 64);
        var options = new HubOptions { CacheFolder = "/" };
        var files = new Dictionary<string, PushFile> { [oid] = new(FuzzTarget.FileName, null, [], 10) };
        yield return new("hub-listing", input =>
        {
            using var json = HubHttp.Parse(input, call);
            var listed = new Dictionary<string, long>();
            HubLister.Add(json.RootElement, listed, call);
            foreach (var (path, size) in listed)
            {
                WrongResultException.Unless(size >= 0, "a size below 0");
                _ = CheckedPath(path);
            }
        }, AllTargets.Bytes("""[{"type":"file","path":"a/config.json","size":3},{"type":"directory","path":"a"}]"""),
            AllTargets.Json("\"path\":\"../x\"", "\"size\":1e99", """{"type":"file","path":"b","size":0},"""),
            typeof(HubException));
        yield return new("hub-upload", input =>
        {
            using var json = HubHttp.Parse(input, call);
            HubUpload.Parsed(call, () => LfsActions.Read(json.RootElement, files, options));
        }, AllTargets.Bytes(
            $$$$"""
            {"oid":"{{{{oid}}}}","actions":{"upload":{"href":"https://s/u","header":{"chunk_size":"5","00001":"https://s/1",
            "00002":"https://s/2"}},"verify":{"href":"https://s/v"}}}
            """,
            $$$$"""{"oid":"{{{{oid}}}}","actions":{"upload":{"href":"https://s/u"}}}""",
            $$$$"""{"oid":"{{{{oid}}}}","error":{"message":"full"}}"""),
            AllTargets.Json("\"chunk_size\":9223372036854775807", "\"href\":\"file:///etc/passwd\"", oid), typeof(HubException));
    }

    /// <summary>A path that is taken stays below its folder.</summary>
    private static string CheckedPath(string path)
    {
        try
        {
            var full = Path.GetFullPath(HubText.CheckPath(path), "/root-of-it");
            WrongResultException.Unless(full.StartsWith("/root-of-it/", StringComparison.Ordinal),
                "a path leads out of its folder");
            return full;
        }
        catch (HubException e)
        {
            WrongResultException.Unless(!e.Message.Any(char.IsControl), "a refusal holds control characters");
            return "";
        }
    }
}
