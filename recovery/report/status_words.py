"""What the status page says, in English and Korean, for people who do not run databases."""

from __future__ import annotations

from typing import Literal

Language = Literal["en", "ko"]
LANGUAGES: tuple[Language, ...] = ("en", "ko")

WORDS: dict[str, tuple[str, str]] = {
    "title": ("Data recovery", "데이터 복구"),
    "working": ("Recovery is under way", "복구가 진행 중입니다"),
    "waiting": ("Waiting for a decision", "담당자의 확인을 기다리고 있습니다"),
    "paused": ("Paused", "일시 중지되었습니다"),
    "recovered": ("Recovered", "복구가 끝났습니다"),
    "in-part": ("Recovered in part", "일부만 복구되었습니다"),
    "beside": ("Loaded beside the real data", "실제 데이터 옆에 따로 불러왔습니다"),
    "taken-back": ("What was put back was taken out again", "되돌린 데이터를 다시 꺼냈습니다"),
    "safe-taken-back": (
        "The rows that had been put back are no longer in the real database.",
        "되돌려 넣었던 데이터는 실제 데이터베이스에 더 이상 없습니다.",
    ),
    "closed": ("Closed", "종료되었습니다"),
    "where": ("Database {database} on {instance}", "{instance}의 {database} 데이터베이스"),
    "aim": ("the aim is its state at {time}", "목표는 {time} 시점의 데이터입니다"),
    "as-of": ("is put back as of {time}", "{time} 시점의 데이터로 되돌립니다"),
    "now": ("What is being done", "지금 하는 일"),
    "progress": ("{percent}% done", "{percent}% 완료"),
    "eta": ("about {time} left", "약 {time} 남았습니다"),
    "no-eta": ("how long it takes is not known yet", "남은 시간은 아직 알 수 없습니다"),
    "safe": ("What is safe", "안전한 것"),
    "safe-others": (
        "Everything else on this server keeps running and is not touched.",
        "이 서버의 다른 데이터와 서비스는 그대로 동작하며 건드리지 않습니다.",
    ),
    "safe-newer": ("What was written since then is kept.", "그 이후에 새로 저장된 데이터는 보존됩니다."),
    "safe-unwritten": (
        "Nothing has been written to the real database yet.",
        "실제 데이터베이스에는 아직 아무것도 쓰지 않았습니다.",
    ),
    "safe-written": (
        "The lost rows are back in the real database.",
        "잃어버린 데이터가 실제 데이터베이스에 돌아왔습니다.",
    ),
    "safe-proven": (
        "{rows} rows are back, and were checked one by one.",
        "데이터 {rows}건이 돌아왔고 모두 확인했습니다.",
    ),
    "not-back": (
        "{rows} lost rows are not back; an engineer knows which.",
        "잃어버린 데이터 {rows}건은 돌아오지 않았습니다. 어떤 것인지는 담당자가 알고 있습니다.",
    ),
    "not-deleted": (
        "{rows} rows that were to go are still there; an engineer knows which.",
        "지우려던 데이터 {rows}건이 아직 남아 있습니다. 어떤 것인지는 담당자가 알고 있습니다.",
    ),
    "next": ("What comes next", "다음 단계"),
    "next-none": ("Nothing: it is over.", "없습니다. 모두 끝났습니다."),
    "next-person": ("A person reads the plan and approves it.", "담당자가 계획을 확인한 뒤 계속 진행합니다."),
    "next-engineer": ("An engineer looks at what stopped it.", "엔지니어가 멈춘 원인을 확인하고 있습니다."),
    "reason": ("Why", "이유"),
    "steps": ("All steps", "전체 단계"),
    "updated": ("Last change {time}", "마지막 변경 {time}"),
    "lost-connection": ("Connection lost, trying again …", "연결이 끊어져 다시 연결하고 있습니다 …"),
    "check-facts": ("Checking that the plan still fits", "계획이 지금 상태와 맞는지 확인"),
    "start-copy": ("Starting a copy of the server as it was", "과거 시점의 서버 복사본 만들기 시작"),
    "await-copy": ("Waiting until Amazon has restored the copy", "복사본이 준비될 때까지 기다리기"),
    "secure-copy": ("Closing the copy to all other logins", "복사본을 외부와 분리하기"),
    "read-target": ("Reading what the tables held", "당시 데이터 읽기"),
    "diff": ("Comparing then with now, row by row", "당시와 지금의 데이터를 한 건씩 비교"),
    "extract": ("Taking the lost rows out of the copy", "복사본에서 잃어버린 데이터 꺼내기"),
    "load": ("Putting the rows back", "데이터를 되돌려 넣기"),
    "verify": ("Proving that it is right", "결과가 맞는지 확인"),
    "remove-copy": ("Removing the copy", "복사본 삭제"),
    "seconds": ("{n} s", "{n}초"),
    "minutes": ("{n} min", "{n}분"),
    "hours": ("{n} h", "{n}시간"),
}


def say(id: str, language: Language, **values: object) -> str:
    """One phrase in one language."""
    return WORDS[id][LANGUAGES.index(language)].format(**values)


def spoken(seconds: float, language: Language) -> str:
    """A duration as people say it."""
    if seconds < 90:
        return say("seconds", language, n=max(1, round(seconds)))
    if seconds < 5400:
        return say("minutes", language, n=round(seconds / 60))
    return say("hours", language, n=f"{seconds / 3600:.1f}")
