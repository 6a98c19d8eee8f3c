"""Messages in Korean."""

from typing import Final

from trimtab_collector.notify.languages.words import MessageWords

__all__ = ["KOREAN"]

#: what to look at when requests are slow
_SLOW: Final = (
    (
        "GET /explain?against=previous에서 무엇 때문에 느려졌는지(데이터베이스, 캐시, 외부 호출, "
        "대기), 어느 경로, 인스턴스, 버전인지 확인하세요."
    ),
    (
        "GET /slow-requests에서 TRIMTAB_SLOW_REQUEST_MS(기본 1000ms)보다 오래 걸린 요청을 하나씩 "
        "확인하세요."
    ),
)

KOREAN: Final = MessageWords(
    words={
        "severity.warning": "경고",
        "severity.critical": "심각",
        "tag.predictive": "예측",
        "side.gt": "{value}, 임계값 {threshold} 초과",
        "side.gte": "{value}, 임계값 {threshold} 이상",
        "side.lt": "{value}, 임계값 {threshold} 미만",
        "side.lte": "{value}, 임계값 {threshold} 이하",
        "side.eq": "{value}",
        "was.gt": "{value}, 임계값 {threshold} 초과였음",
        "was.gte": "{value}, 임계값 {threshold} 이상이었음",
        "was.lt": "{value}, 임계값 {threshold} 미만이었음",
        "was.lte": "{value}, 임계값 {threshold} 이하였음",
        "was.eq": "{value}, 이전 {threshold}",
        "side.none": "{value}",
        "value.none": "값 없음",
        "subject.none": "전체 서비스",
        "title.firing": "[{severity}] {subject}: {metric} {figure} ({since}부터)",
        "title.escalated": "[{severity}] {subject}: {metric} {figure} ({since}부터)",
        "title.updated": "[{severity}, 변경] {subject}: {metric} {figure} ({since}부터)",
        "title.reminder": "[{severity}, 지속 중] {subject}: {metric} {figure} ({since}부터)",
        "title.resolved": "[해결] {subject}: {metric} {value}, {duration} 만에 회복",
        "title.resolved.unknown": "[해결] {subject}: {metric} {duration} 만에 회복",
        "title.expired": "[종료] {subject}: {metric} 판정 중단, {duration} 경과",
        "title.flapping": "[{severity}, 불안정] {subject}: {metric} 임계값 {threshold} 반복 통과",
        "title.test": "[테스트] trimtab 알림 채널 확인",
        "title.digest": "[모음] 알림 {count}건, 그중 심각 {critical}건",
        "lead.firing": "{subject}의 {metric}: {figure}. {since}부터 계속되고 있습니다.",
        "lead.escalated": "{subject}의 {metric}: 상태가 나빠졌습니다. {figure}. "
        "{since}부터 계속되고 있습니다.",
        "lead.updated": "알림 내용이 바뀌었습니다. {subject}의 {metric}: {figure}. "
        "{since}부터 계속되고 있습니다.",
        "lead.reminder": "아직 해결되지 않았습니다. {subject}의 {metric}: {figure}. "
        "{since}부터 계속되고 있습니다.",
        "lead.resolved": "{subject}의 {metric}: 회복되었습니다. 현재 {value}, {since}부터 "
        "{ended}까지 {duration} 지속, 최악값 {worst}.",
        "lead.resolved.unknown": "{subject}의 {metric}: 회복되었습니다. {since}부터 {ended}까지 "
        "{duration} 지속, 최악값 {worst}.",
        "lead.expired": "{subject}의 {metric}: 데이터나 규칙이 없어져 더 이상 판정하지 않습니다. "
        "회복은 확인되지 않았습니다. 시작 {since}, 최악값 {worst}.",
        "lead.flapping": "{subject}의 {metric}: 임계값({threshold})을 계속 넘나들고 있습니다. "
        "안정될 때까지 추가 알림을 보류합니다.",
        "lead.test": "trimtab이 보낸 테스트 메시지입니다. 문제는 없으며, 채널이 정상 동작합니다.",
        "lead.digest": "이 채널로 하나씩 보낼 수 있는 것보다 많은 알림이 발생했습니다. "
        "심각한 것부터 나열합니다.",
        "lead.plain": "수치는 여기에 적을 수 없었습니다. 수치는 GET /alerts에서, "
        "그 이유는 GET /deliveries에서 볼 수 있습니다.",
        "lead.merged": "메시지가 전달되기 전에 시작되고 끝난 알림입니다.",
        "lead.lost": "규칙이 지정한 채널이 없어 여기로 보냅니다: {names}.",
        "fact.rule": "규칙",
        "fact.value": "현재 값",
        "fact.worst": "최악값",
        "fact.threshold": "임계값",
        "fact.since": "시작",
        "fact.ended": "종료",
        "fact.duration": "지속 시간",
        "fact.environment": "환경",
        "fact.service": "서비스",
        "fact.route": "경로",
        "fact.instance": "인스턴스",
        "fact.version": "버전",
        "fact.agent": "에이전트",
        "fact.part": "구성 요소",
        "fact.slo": "목표",
        "fact.promise": "약속",
        "fact.budget": "남은 예산",
        "fact.windows": "소진 구간",
        "subject.agent": "에이전트 {name}",
        "subject.part": "{name}",
        "subject.slo": '목표 "{name}"',
        "subject.other": "{name}",
        "promise.errors": "{days}일 동안 요청의 {target} 이상이 오류 없음",
        "promise.latency": "{days}일 동안 요청의 {target} 이상이 {below} 이내, 오류 없음",
        "budget.left": "{share}",
        "budget.over": "없음, {share} 초과 사용",
        "windows": "지난 {long}, 최근 {short} 동안에도 계속",
        "section.members": "영향을 받는 대상",
        "section.changes": "함께 바뀐 것",
        "section.hints": "확인할 것",
        "section.description": "규칙 설명",
        "section.alerts": "알림",
        "section.commands": "자세히 보는 명령",
        "section.pages": "바로 가기",
        "member": "{where}: {value} ({severity}, {since}부터)",
        "more": "외 {count}건",
        "mark.deploy": "배포",
        "change.mark": "{at}: {mark} {name} {place} {detail}",
        "change.place": "({place})",
        "change.share": "변화의 {share}: {name} {detail}",
        "change.errors": "오류의 {share}: {name} {detail}",
        "change.process": "{name}: 코어 하나의 {share} 사용 {detail}",
        "change.other": "{name} {detail}",
        "part.database": "데이터베이스",
        "part.cache": "캐시",
        "part.external": "외부 호출",
        "part.queue": "워커 대기",
        "part.app": "앱 자체 코드",
        "part.gc": "가비지 컬렉션",
        "link.alert": "이 알림",
        "link.rule": "알림 규칙",
        "link.thresholds": "임계값",
        "link.objectives": "목표",
        "link.advice": "분석과 조언",
        "link.hosts": "그 무렵의 호스트",
        "link.agents": "에이전트",
        "link.service": "그 무렵의 서비스",
        "link.route": "그 무렵의 경로",
        "link.list": "모든 알림",
        "link.alerts": "관련 알림",
        "link.routes": "관련 경로",
        "link.explain": "느려진 이유",
    },
    metrics={
        "responseTime": "응답 시간 p95",
        "errorRate": "오류율",
        **{name: f"응답 시간 {name}" for name in ("p50", "p90", "p95", "p99", "p999")},
        "mean": "평균 응답 시간",
        "max": "최대 응답 시간",
        "ttfb": "첫 바이트까지의 시간",
        "queueTime": "워커 대기 시간",
        "requestsPerSecond": "초당 요청",
        "memoryUsage": "메모리 사용률",
        "cpuUsage": "CPU 사용률",
        "networkUsage": "네트워크 사용률",
        "diskUsage": "디스크 사용률",
        "eventLoopDelay": "이벤트 루프 지연",
        "queryTime": "쿼리 시간 p90",
        "externalTime": "외부 호출 시간 p95",
        "cacheHitRate": "캐시 적중률",
        "spoolSize": "에이전트에 쌓인 데이터",
        "agentMemory": "에이전트 메모리",
        "agentSilence": "에이전트 무응답",
        "clockSkew": "시계 오차",
        "serviceGone": "프로세스 중단 시간",
        "collectorTrouble": "수집기 이상",
        "burnRate": "오류 예산 소진율",
        "analysis": "분석에서 발견된 문제",
    },
    hints={
        **dict.fromkeys(
            ("responseTime", "p50", "p90", "p95", "p99", "p999", "mean", "max", "ttfb"), _SLOW
        ),
        "errorRate": (
            "GET /slow-requests?reason=failed에서 실패한 요청의 예외, 파일, 줄 번호를 확인하세요.",
            "버전별로 비교하세요. 최신 버전만 실패한다면 되돌리세요.",
        ),
        "requestsPerSecond": (
            "클라이언트, 로드 밸런서, 상태 검사의 요청이 평소와 다른지 확인하세요.",
        ),
        "memoryUsage": (
            (
                "GET /memory에서 워커별로 확인하세요. 한 워커만 계속 늘면 누수이고, 모두 함께 늘면 "
                "부하나 캐시가 원인입니다."
            ),
            "워커를 재시작하면 시간을 벌 수 있습니다. 원인은 버전을 비교하여 찾으세요.",
        ),
        "cpuUsage": (
            (
                "GET /system에서 스로틀링을 확인하세요. 한도에 이른 컨테이너는 100%가 되기 전에 "
                "느려집니다."
            ),
            "GET /routes?by=totalTime에서 시간을 가장 많이 쓰는 경로를 확인하세요.",
        ),
        "networkUsage": (
            "GET /routes에서 전송 바이트를 보고, 압축하지 않은 큰 응답이 있는지 확인하세요.",
        ),
        "diskUsage": ("지워지지 않는 로그, 업로드 파일, 임시 파일이 있는지 확인하세요.",),
        "eventLoopDelay": (
            "코루틴 안의 동기 호출이나 긴 계산이 이벤트 루프를 막고 있습니다.",
            "GET /explain?against=previous에서 앱 자체 코드가 느려진 경로를 확인하세요.",
        ),
        "queryTime": (
            "GET /slow-queries에서 해당 쿼리의 경로, 파일, 줄 번호를 확인하세요.",
            "빠진 인덱스, 반복되는 쿼리, 잠금이나 연결 대기가 있는지 확인하세요.",
        ),
        "cacheHitRate": (
            "GET /cache에서 적중과 축출 횟수를 확인하세요. 축출이 많으면 캐시가 작은 것입니다.",
            "키를 바꾼 배포나 너무 짧은 만료 시간이 있는지 확인하세요.",
        ),
        "queueTime": (
            "요청이 빈 워커를 기다립니다. GET /metrics/current에서 처리 중인 수를 확인하세요.",
        ),
        "externalTime": ("GET /external에서 어느 호스트가 느린지, 상태 코드와 함께 확인하세요.",),
        "spoolSize": (
            "해당 호스트에서 `trimtab doctor`가 수집기에 연결되는지, 키가 유효한지 확인하세요.",
            "GET /health에서 수집기가 처리 속도를 따라가는지 확인하세요.",
        ),
        "agentSilence": (
            "해당 호스트에서 `trimtab agent`가 실행 중인지, `trimtab doctor`로 확인하세요.",
        ),
        "serviceGone": (
            "해당 호스트에서 앱 로그와 앱을 시작하는 프로그램의 로그에서 종료 원인을 확인하세요.",
        ),
        "clockSkew": ("해당 호스트의 시간 동기화(chrony, systemd-timesyncd)를 확인하세요.",),
        "collectorTrouble": ("GET /health와 수집기 로그에서 원인을 확인하세요.",),
        "burnRate": ("GET /slos에서 남은 예산과 소진율을 확인하세요.",),
        "burnRate.errors": (
            "GET /slow-requests?reason=failed에서 실패한 요청의 예외, 파일, 줄 번호를 확인하세요.",
        ),
        "burnRate.latency": (
            "GET /routes?by=p95에서 느린 경로를 확인하세요.",
            "GET /explain?against=day에서 하루 전보다 무엇이 느려졌는지 확인하세요.",
        ),
        "analysis": ("GET /analysis에서 문제별 근거와 권장 사항을 확인하세요.",),
        "": ("GET /metrics/history에서 이전 추이를 확인하세요.",),
    },
    pages={
        "/explain?against=previous": '서비스 페이지의 "비교"',
        "/explain?against=day": '서비스 페이지의 "비교"',
        "/slow-requests": '"느린 요청" 페이지',
        "/slow-requests?reason=failed": '"느린 요청" 페이지',
        "/memory": '"메모리와 런타임" 페이지',
        "/system": '"호스트" 페이지',
        "/routes": '서비스 페이지의 "경로"',
        "/routes?by=totalTime": '서비스 페이지의 "경로"',
        "/routes?by=p95": '서비스 페이지의 "경로"',
        "/slow-queries": '"데이터베이스" 페이지',
        "/cache": '"캐시" 페이지',
        "/metrics/current": "서비스 페이지",
        "/external": '"외부 호출" 페이지',
        "/health": '"에이전트" 페이지',
        "/slos": '"목표" 페이지',
        "/analysis": '"조언" 페이지',
        "/metrics/history": '"자체 메트릭" 페이지',
        "/alerts": '"알림" 페이지',
        "/deliveries": '"알림 채널" 페이지',
    },
)
